"""What `ourofsctl compare` consists of. Who measures what is said in runner.py."""
