"""The methods by name: one file each, one paper each."""
from minixl.methods.finetune import Finetune

METHODS = {"finetune": Finetune}
