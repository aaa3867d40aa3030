"""Grafana's dashboards as code: one board a module, written as JSON by ``python -m``.

A board is a list of rows, a row a title and panels in 24 columns. `panels` and `tables` hold the
kinds of panel we use and how they look, `limits` the numbers of the alerting rules, `frame` what
all boards share: variables, annotations, links.
"""
