"""Does `why` name the right cause? Faults played over data sets, and clean windows that must stay silent.

`python bench/faults --help` runs it. `streams` are data sets as scored rows, `held_out` those nobody looked at, `plays`
what can happen to rows, `catalogue` the faults by their idea, `innocent` what is nobody's fault, `windows` cuts, plays
and judges, `baselines` what others do by hand, `scores` counts; `nights` are the faults that rows alone cannot show,
and `real` plays them and a choice of the catalogue through a server and the command line.
"""
