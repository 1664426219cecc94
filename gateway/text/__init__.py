"""Letters, numbers and names of the mobile network. Pure; imports nothing of ours."""
