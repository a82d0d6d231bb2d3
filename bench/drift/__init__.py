"""How often the monitor alarms on clean data, and how soon it sees a fault: `python bench/drift`.

streams   data sets in order of time, cut into windows as the monitor cuts them, with a model that scores them
faults    what is done to a day's rows
methods   clean days and planted faults judged by the monitor's own method
tables    what is printed
"""
