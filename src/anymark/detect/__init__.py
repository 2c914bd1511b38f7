"""Run time: photo -> heads -> landmarks, with numpy, onnxruntime and Pillow only."""
