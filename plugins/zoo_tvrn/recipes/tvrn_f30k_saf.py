# The other half of the ensemble.
_base_ = "tvrn_f30k_sgr.py"
name = "tvrn-f30k.bigru_butd_saf"
model = dict(aligner=dict(head="saf"))
