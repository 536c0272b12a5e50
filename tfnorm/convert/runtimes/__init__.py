"""Files of models that run without Keras: LiteRT, ONNX, SavedModel."""
