"""The groups of users. Seeing all merchants is not a group but `is_staff`."""

MERCHANT = "merchant"
OPERATOR = "operator"
VIEWER = "viewer"

ROLES = (MERCHANT, OPERATOR, VIEWER)
