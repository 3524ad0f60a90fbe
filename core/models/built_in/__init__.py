"""The models that come with HeadScope: the circuit by construction, and the small trained ones."""
