_base_ = "_f30k.py"
name = "scan-f30k.bigru_butd_t2i"
