"""stub"""
GROUP = "zalando.org"
