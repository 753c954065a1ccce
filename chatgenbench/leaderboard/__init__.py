"""The leaderboard: submissions that are made, checked, verified, ranked and shown.

    columns     the columns of submission.csv, and how a cell is written and read back
    manifest    manifest.json: who, what, with what, and the claimed numbers; signed
    keys        Ed25519 keys, signing and checking a signature
    submit      a finished run -> a submission's folder
    check       everything that is wrong with a submission, row by row
    verify      scores computed again, pictures drawn again -> verification.json
    board       the folder `leaderboard/`: which submissions there are
    results     what ranking finds, as one structure
    rank        submissions -> results.csv, results.json
    site        results -> static pages

Imports point down the list; `report` and `evaluate` lie below all of it.
"""
