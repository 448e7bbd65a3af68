"""Mutants: named bugs, planted from outside while a plan is played, that show that checkers see what they should.

Nothing in `pivot` knows of them: a mutant replaces a function at a named seam and puts it back. Start at
`mutant.Mutant`; `catalogue.RING` lists the first ring.
"""
