"""What people bring: photos, and views of other programs."""
