using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;

namespace Saturn.Tests.Prune;

/// <summary>A network written down in a test: its layers by name, and its forward pass as a function.</summary>
internal sealed class HandMadeNetwork(Device device) : Module(device)
{
    public Func<Tensor, Tensor> Run { get; set; } = null!;

    public override Tensor Forward(Tensor input) => Run(input);

    public ConvBatchNormRelu AddConvolution(string name, int inputs, int outputs, int kernel = 1, Activation? activation = null)
    {
        ConvBatchNormRelu layer = new(Device, inputs, outputs, kernel, ConvolutionSettings.Square(padding: kernel / 2), activation ?? Activation.Relu);
        Register(name + ".conv", layer.Convolution);
        Register(name + ".bn", layer.Norm);
        if (layer.Activity is not null)
        {
            Register(name, layer.Activity);
        }

        return layer;
    }

    public T Add<T>(string name, T module)
        where T : Module => Register(name, module);

    public ChannelActivity Add(string name, ChannelActivity activity) => Register(name, activity);

    public Shortcut AddShortcut() => Own(new Shortcut());
}
