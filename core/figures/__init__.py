"""Results to plotly figures: pure functions of arrays and a `Look`. Nothing here imports streamlit."""
