namespace Saturn.Kernels.Families;

/// <summary>Activation functions on pitched tensors, float32 or bfloat16, all of a call in one type; padding stays zero (all of them map 0 to 0).</summary>
public interface IActivationKernels
{
    /// <summary>output = f(input), and which channels were active.</summary>
    void Forward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer output, in ActivityReport activity);

    /// <summary>inputGradient = (or +=) f′(input)·outputGradient. The input gradient may be the output gradient's buffer.</summary>
    void Backward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode);
}
