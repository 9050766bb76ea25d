"""The shape of the file: one pydantic model a section. The JSON Schema is made from these too.

Where the right model depends on a name or a type, the field is ``SkipValidation``: ``load`` chooses the model and
checks it by hand, so that an error names the field and not every alternative.
"""
