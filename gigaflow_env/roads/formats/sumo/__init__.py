"""Eclipse SUMO networks (*.net.xml), and OpenStreetMap by its netconvert."""
