# BiGRU words; released code's dropout on their embeddings.
_base_ = "_paper.py"
model = dict(
    text_encoder=dict(
        type="tvrn_words",
        reader=dict(type="bigru", word_dim=300, dim=1024, dropout=0.4),
        text_context="pair",
        dropout=0.4,
    )
)
optim_wrapper = dict(optimizer=dict(type="Adam", lr=2e-4), clip_grad=dict(max_norm=2.0))
