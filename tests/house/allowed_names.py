"""Names that vulture finds unused although somebody uses them. Anything else that it finds is dead and goes."""

# Called by Python, jinja2, nltk, pydantic, torch, transformers or the system, by name.
_.do_GET
_.do_POST
_.log_message
_.__getattr__
_.readable
_.readinto
_.model_config
_.literal
_.open_loop
_.close_loop
_.visit_Const
_.visit_Filter
_.visit_Getitem
_.visit_TemplateData
_.intercepted_binops
_.concat
_.name_or_path
_.pre_tokenizer
_.model_max_length
_.attention_mask
_.input_ids
_.mode
_.frame
_.synsets

# What lm-evaluation-harness asks of a model, by name.
_.tokenizer_name
_.apply_chat_template
_._loglikelihood_tokens
_.loglikelihood_rolling
_.generate_until

# Fields of requests that clients send and we only have to know, and what SQLAlchemy, sqlite3 and alembic read.
_.n_epochs
_.entity
_.image_tag
_.learning_rate_multiplier
_.dpo
_.reinforcement
_.user
_.parallel_tool_calls
_.service_tier
_.mime_type
_.isolation_level
_.type_annotation_map
_.down_revision

# Read by the test that walks the routes.
_.PUBLIC

# Choices of an option.
_.balanced

# Part of a value or room that is tested and offered; its caller in the house is still to be built.
_.data_tokens
_.read_records
