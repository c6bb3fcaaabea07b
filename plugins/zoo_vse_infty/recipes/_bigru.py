# BiGRU words; GloVe's 840B vectors to start from (--set initial_weights.text_encoder=none to do
# without).
_base_ = "_paper.py"
model = dict(
    text_encoder=dict(
        type="vse_infty_words",
        reader=dict(
            type="bigru",
            word_dim=300,
            dim=1024,
            word_drop=0.2,
            mask_token=True,
            unit_length=False,
        ),
    )
)
initial_weights = dict(text_encoder="glove.840B.300d.txt")
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-4), clip_grad=dict(max_norm=2.0)
)
