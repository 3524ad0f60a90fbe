"""What the pages share: state, sidebar, waiting, errors. The only part of core that imports streamlit."""
