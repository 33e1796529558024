"""Stages in the form that suits one kind of device, beside the forms for all that the rest of `physics` holds."""
