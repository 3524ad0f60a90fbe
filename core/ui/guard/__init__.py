"""What a window may send and ask for: bounds and answers that Streamlit leaves open, put in place once in a process."""
