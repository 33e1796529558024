"""The physics: the stages of one MuJoCo step on the skeleton, and what drives them."""
