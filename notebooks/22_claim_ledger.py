# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The claim ledger
#
# Every number that the paper's text computes from its tables, computed again; then its six Main Conclusions, each with what the paper's own
# numbers and our runs say for and against it. This is the page to defend the paper from, and to attack it.

# %% tags=["parameters"]
MODE = "smoke"  # "smoke": minutes on two CPU cores, offline; "small", "full": more of the same
DEVICE = "cpu"
SEED = 0
RESULTS_DIR = "../runs/notebooks"

# %%
from collections import Counter

from clipbert.comparison import interval, read_results
from clipbert.conclusions import THE_PAPER, conclusions, findings
from clipbert.paper import claims, table_part
from clipbert.results import committed_results
from clipbert.trends import curve_trends, read_rows, table_trends
from clipbert.viz.notebook import environment, table
from clipbert.viz.paper_tables import curve_rows, finding_rows, trend_rows

results = read_results(committed_results())
ledger = claims()
table([{"the text says": c.claim, "section": c.section, "computed": f"{c.computed:g} = {c.source}", "holds": c.holds} for c in ledger])

# %% [markdown]
# A slip of the text: TGIF-QA's training details are said to be in Table 10 and are in Table 11.
#
# ## The six Main Conclusions
#
# "within the noise": the difference is smaller than what 1,000 queries can tell (rows taken as independent; they share their queries, which the
# paper's numbers do not let us use). For accuracies the paper tells no test size, so "holds" there means only that the sign is right.

# %%
for conclusion in conclusions():
    table(finding_rows(findings(conclusion, results)), f"({conclusion.number}) {conclusion.statement}")

# %%
verdicts = [(c.number, f.expectation.column, f.verdict) for c in conclusions() for f in findings(c)]
counted = Counter((column, verdict) for _, column, verdict in verdicts)
kinds = ("holds", "within the noise", "does not hold")
table([{"column": column, **{kind: counted[column, kind] for kind in kinds}} for column in ("R1", "Accuracy")], "the paper's own numbers")

# %% [markdown]
# ## Do our small runs go the paper's way?
#
# Kendall's tau of each table that has rows of ours, and section 4.2's statements on Figure 4 with a sign test. "unclear": chance alone would do as
# much once in 20 times; with three seeds a sign test is never clearer than p = 0.25.

# %%
tables = [{"table": name} | row for name in "123456" for row in trend_rows(table_trends(table_part(name), results))]
table(tables, "rows of Tables 1 to 6, on other data and at other sizes than the paper's")
table(curve_rows(curve_trends(read_rows(committed_results()))), "Figure 4")

# %% [markdown]
# ## One line for each
#
# | | for | against |
# |---|---|---|
# | (i) image size | 224 to 448: +3.4 R@1, beyond the noise | on questions 224 is best, not so on our shorts; beyond 448 all is noise |
# | (ii) two frames, mean fusion | signs all agree; Conv(2+1)D at T=2 clearly worse | three of four leads in R@1 are noise |
# | (iii) more clips at inference | accuracy +0.51; synthetic videos: 30 % to 90 % from 1 to 16 clips | +2.5 R@1 is within the noise |
# | (iv) sparse beats dense | R5 +2.3, accuracy +0.79; a quarter of the cost | +0.2 R@1 with a margin of 3.2; our small runs lean to dense |
# | (v) image-text pre-training | every difference beyond the noise; our shorts +10 over random | real clips: R@1 +14 ± 18, questions none |
# | (vi) end-to-end training | signs agree in R@1 | all of R@1 within the noise, our shorts too; accuracy -0.05 against freezing both |

# %%
ours = []
for conclusion in conclusions():
    found = Counter(f.verdict for f in findings(conclusion, results) if f.scale != THE_PAPER)
    seeds = max((len(f.differences) for f in findings(conclusion, results) if f.scale != THE_PAPER), default=0)
    ours.append({"conclusion": f"({conclusion.number})", **{kind: found[kind] for kind in ("for", "mixed", "against")}, "seeds": seeds or "not run"})
table(ours, "what our own small runs say to each expectation; where nothing stands, `train/ablate.py` has more to run")
low, high = interval(table_part("4").cell("R1", "Sparse Random", "4"))
print(f"Table 4's 15.7 R@1 could be anything from {low:.1f} to {high:.1f}: 15.5 says nothing against it, nor for it")

# %%
assert len(ledger) == 16 and all(claim.holds for claim in ledger)
assert sum(counted.values()) == 38 and counted["R1", "does not hold"] == 0
assert low < 15.5 < high

# %% [markdown]
# ## Scope, method, result, limits
#
# - **Scope**: sections 4.2 to 4.4; Tables 1 to 8.
# - **Method**: cells by name, not by hand; a margin from binomial variance; ours seed by seed with a sign test (three seeds: p = 0.25 at best).
# - **Result**: 16 of 16 sums hold. Of the 19 expectations in R@1 none has the wrong sign, 8 exceed the noise of 1,000 queries and 11 do not. Of the
#   19 in
#   accuracy 4 have the wrong sign.
# - **Easy / difficult**: one run for each cell of the paper: seeds are not among the margins, so the truth is wider still.

# %%
environment(MODE, DEVICE, SEED)
