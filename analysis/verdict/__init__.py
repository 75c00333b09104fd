"""Which method is really better, and how sure are we?"""
