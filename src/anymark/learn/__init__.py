"""Everything that needs torch: data, models, training and export (`pip install 'anymark[train]'`)."""
