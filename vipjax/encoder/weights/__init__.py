"""Files of an encoder's weights: our artefact folder, and VIP's released format both ways."""
