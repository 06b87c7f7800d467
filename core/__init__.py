"""FiveWay: few-shot image classification."""
