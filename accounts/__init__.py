"""Who uses the site: merchants, operators, viewers and staff."""
