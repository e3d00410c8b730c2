namespace Saturn.Bench;

/// <summary>A network, its optimizer and a fixed batch, ready to be trained step by step.</summary>
public interface ITrainingStepWorkload : IDisposable
{
    /// <summary>
    /// One whole training step: forward pass in training mode, cross entropy, backward pass, SGD with momentum 0.9 and weight decay 5e-4. A GPU may
    /// still be at work when it returns.
    /// </summary>
    void Step();
}
