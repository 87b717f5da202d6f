"""What is wrong with a learner, its episodes, labels or losses: told early, and in words."""
