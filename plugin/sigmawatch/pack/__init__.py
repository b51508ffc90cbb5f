"""First stage: finds and reads the files of a pack. Knows no cluster and no compiler."""
