"""A Together-compatible server for rehearsals: the public endpoints, and the key-management contract.

It runs as a process of its own, over real HTTP, with all state in memory. ``model`` holds the platform's
rules and knows no HTTP; ``api`` and ``control`` are the two sets of endpoints; ``wire`` joins an endpoint,
a fault and a connection; ``server`` runs it all.
"""
