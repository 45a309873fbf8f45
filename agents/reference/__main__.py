"""`python -m ninezero.agents.reference`: writes every generated document into the checkout."""

from ninezero.agents.reference.documents import write_all

if __name__ == "__main__":
    write_all()
