"""Does `why` name the right cause? Faults played over data sets, and clean windows that must stay silent.

`python bench/faults --help` runs it. `streams` are data sets as scored rows, `plays` what can happen to rows,
`catalogue` the faults and harmless changes by their idea, `windows` cuts and plays, `baselines` what others do by
hand, `scores` counts, `real` plays a sample through the command line.
"""
