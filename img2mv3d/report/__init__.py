"""What people look at after a run: sheets of pictures, the page report.html, turntables."""
