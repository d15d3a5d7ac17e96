"""What makes the documents: tables from declarations and results, pictures from the simulator. Not in the wheel."""
