"""Tables 1 to 6 and Figure 4, run by `train.py` and `evaluate.py` on any data: a list of named cells, over seeds, one row a run.

    python train/ablate.py --config train/configs/ablate_synthetic.yaml --seeds 3 --out benchmarks/results/ablations-synthetic.jsonl
    python train/ablate.py --table 3 --config ... --out ...      # the runs of one table
    python train/ablate.py --list --config ... --out ...         # what is done, what is missing, how long it will take

A configuration that several tables share runs once.  A run that is done, which
its row in the file says, is not repeated; one that was killed goes on from its
last checkpoint; the same command in a second process takes other runs.

One line of the file is one run, in the form that `clipbert tables` reads:

    run             name of the run: recipe, overrides and evaluations, as a hash; the same for all its seeds
    seed            of training; of a model that is only read, the number of the split, from 1
    scale           what the numbers are of ("synthetic, ..."; "full" would be the paper's own data and size)
    paper_cells     [{table, row, column, value, metric, num_examples}]: all cells of Tables 1 to 6 that this run fills
    figure_points   [{figure: 4, series, x: N_test, aggregation, column, value, metric, num_examples}]
    measured        what evaluate.py wrote, for each task: every N_test and aggregation
    overrides       in what the run differs from its recipe;  settings: recipe and overrides together
    updates, seconds, evaluation_seconds    seconds are those of updates alone
    command, data, hardware, load, commit, versions, date

Columns are the paper's: R1, R5, R10, MdR of text-to-video retrieval and
Accuracy of questions, in percent (MdR is a rank).  Rows are only added.
"""
