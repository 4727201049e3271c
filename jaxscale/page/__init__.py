"""What every page is made of: header, caveats, figures, tables, limits, configuration, in a file that needs no network.

Each piece takes plain values and returns markup; all that comes from outside is escaped on its way in.
"""
