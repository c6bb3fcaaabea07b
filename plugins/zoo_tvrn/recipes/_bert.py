# BERT words (INFERRED: the paper has results with BERT, released code has none). BERT itself learns
# at a tenth of the rate, as in CHAN's recipes. bert-base-uncased is a folder with vocab.txt,
# config.json and model.safetensors.
_base_ = "_paper.py"
model = dict(
    text_encoder=dict(
        type="tvrn_words",
        reader=dict(type="bert", dim=1024),
        text_context="pair",
        dropout=0.4,
    )
)
vocabulary = dict(file="bert-base-uncased/vocab.txt")
initial_weights = dict(text_encoder="bert-base-uncased/model.safetensors")
optim_wrapper = dict(
    optimizer=dict(type="Adam", lr=2e-4),
    paramwise_cfg={"text_encoder.reader.bert": dict(lr_mult=0.1)},
    clip_grad=dict(max_norm=2.0),
)
