"""Reading Hugging Face folders: config files, safetensors headers and the spellings of tensor names."""
