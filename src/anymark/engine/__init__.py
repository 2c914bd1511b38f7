"""The data engine: pictures of posed heads with exact labels."""
