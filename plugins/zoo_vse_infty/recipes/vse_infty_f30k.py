_base_ = "_bert.py"
name = "vse-infty-f30k"
