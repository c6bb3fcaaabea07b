# BERT words; BERT itself learns at a tenth of the rate. bert-base-uncased is a folder with
# vocab.txt, config.json and model.safetensors.
_base_ = "_paper.py"
model = dict(
    text_encoder=dict(
        type="vse_infty_words",
        reader=dict(type="bert", dim=1024, word_drop=0.2, unit_length=False),
    )
)
vocabulary = dict(file="bert-base-uncased/vocab.txt")
initial_weights = dict(text_encoder="bert-base-uncased/model.safetensors")
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-4),
    paramwise_cfg={"text_encoder.reader.bert": dict(lr_mult=0.1)},
    clip_grad=dict(max_norm=2.0),
)
