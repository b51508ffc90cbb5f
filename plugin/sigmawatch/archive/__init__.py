"""Copies of events for the long term, with the fields that forensics needs and without the rest.

fields     which fields these are
artifacts  the index template of a dataset's copies, which also says what `sigmawatch archive` is to do
holdings   what a cluster has: indices that wait to be copied, and copies
copying    one index, copied so that an interrupted run harms nothing
archiver   a run: what is due is copied, what is too old is deleted

What is to be done stands in the cluster, as detections do for `sigmawatch run`: who archives needs no pack, and copies
always have the mappings of the fields that are copied.
"""
