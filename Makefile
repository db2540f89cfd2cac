# make app and make test are all a newcomer needs; each sets up .venv by itself and is safe to repeat.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup app test test-all synthetic-model bench bench-all notebooks lint lock

setup: $(READY)

# torch first, so that nothing else pulls in another build; deepspeed is a source package and needs the rest present
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install -q --disable-pip-version-check -c requirements.lock ninja setuptools wheel
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(BIN)/pip check
	touch $@

app: $(READY)
	$(BIN)/python app/app.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n 2

bench: $(READY)
	$(BIN)/python benchmarks/bench.py

bench-all: $(READY)
	$(BIN)/python benchmarks/bench.py --all
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/bench.py --document

# the model `synthetic` (train/README.md) from random weights into runs/synthetic; a lesson that is done is not repeated
synthetic-model: runs/synthetic_videos/step_00003200
	$(BIN)/python train/calibrate.py --model $< --out runs/synthetic --videos data/synthetic --questions data/synthetic/openqa_val.jsonl \
		data/synthetic/frameqa_val.jsonl --num-clips 16 --num-frames 4 --fps 5
	$(BIN)/python train/settle.py --model runs/synthetic --videos data/synthetic --questions data/synthetic/openqa_val.jsonl \
		data/synthetic/frameqa_val.jsonl --save

runs/synthetic_videos/step_00003200: runs/synthetic_scenes/step_00003600
runs/synthetic_scenes/step_00003600: runs/synthetic_pictures/step_00003400
runs/synthetic_pictures/step_00003400: runs/synthetic_figures/step_00001000 data/synthetic_more/README.md
runs/synthetic_acts/step_00003000: runs/synthetic_shorts/step_00004000
runs/synthetic_shorts/step_00004000: runs/synthetic_stills/step_00002500
runs/synthetic_stills/step_00002500: runs/synthetic_singles/step_00002500
runs/synthetic_figures/step_00001000 runs/synthetic_singles/step_00002500: data/synthetic/README.md
runs/synthetic_%:
	$(BIN)/python train/train.py --config train/configs/$(notdir $(patsubst %/,%,$(dir $@))).yaml

data/synthetic/README.md: $(READY)
	$(BIN)/python -m clipbert data synthetic data/synthetic --num-videos 1624 --seed 1

data/synthetic_more/README.md: $(READY)
	$(BIN)/python -m clipbert data synthetic data/synthetic_more --num-videos 1624 --seed 2 --stills-per-video 64 --shorts-per-video 12

notebooks: $(READY)
	$(BIN)/python notebooks

lock: $(READY)
	{ sed -n 1p requirements.lock; $(BIN)/pip freeze --exclude-editable | grep -v '^clipbert' | sed -E 's/^torch==.*/torch==2.13.0/; s/^(decord==.*)$$/\1 ; platform_machine == "x86_64" or platform_machine == "AMD64"/'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
