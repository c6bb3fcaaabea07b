_base_ = "_bert.py"
name = "chan-f30k.bert_butd"
