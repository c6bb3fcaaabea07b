_base_ = "_bert.py"
name = "chan-coco.bert_butd"
