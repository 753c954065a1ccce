"""`python -m chatgenbench.schemas`: write the schema files again."""

from chatgenbench.schemas import write

write()
